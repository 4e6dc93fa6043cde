"""Redis and RQ as the coordinator uses them; `bus.RedisBus` is the port."""
