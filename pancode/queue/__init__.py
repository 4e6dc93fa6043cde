"""Redis and RQ as the coordinator uses them; `queue.RedisBus` implements the `Bus` port."""
