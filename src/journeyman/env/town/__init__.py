"""The built-in town: needs, scarce objects, queues, work and company."""
