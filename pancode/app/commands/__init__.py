"""The commands of the coordinator itself: serve, service, init, doctor, demo."""
