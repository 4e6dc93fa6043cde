"""The nodes of the fleet: inventory, heartbeats, links, bring-up."""
