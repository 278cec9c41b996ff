"""What needs a network or a hub, and says so in one sentence where there is none."""
