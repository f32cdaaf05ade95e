"""What a run can do: capture, replay, evaluate, bc, ppo, anneal."""
