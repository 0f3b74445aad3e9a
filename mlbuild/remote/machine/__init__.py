"""What runs on the machine that runs jobs: the agent that answers, and the runner of one order."""
