"""The machines of the fleet: brought up, halted, taken out, and looked after while their links last."""
