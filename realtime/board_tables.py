"""What a host puts up while the sale runs: the pin, the timer, tonight's floor, the milestones."""
