"""The only place that knows adapters and control: puts one coordinator together."""
