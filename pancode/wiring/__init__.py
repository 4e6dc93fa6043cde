"""The only place that knows adapters and control: one coordinator, put together."""
