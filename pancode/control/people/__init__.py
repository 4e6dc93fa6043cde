"""Use cases in which a person has a say: runs are continued, questions answered, changes approved."""
