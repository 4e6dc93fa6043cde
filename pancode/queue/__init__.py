"""Redis and RQ as the coordinator uses them; `queue.RedisBus` is the port."""
