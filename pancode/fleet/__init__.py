"""The machines of the fleet: inventory, heartbeats, links, bring-up."""
