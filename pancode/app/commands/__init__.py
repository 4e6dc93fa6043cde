"""Commands that run and check the coordinator itself: serve, service, init, doctor, demo."""
