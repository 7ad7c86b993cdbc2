"""What a change to a seminar would do, told without a CLI, without an account and without a network."""
