"""An editor's face: the fleet as an agent of the Agent Client Protocol."""
