"""The editor interface: offers the fleet as an agent of the Agent Client Protocol."""
