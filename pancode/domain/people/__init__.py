"""What people have a say in while work goes on: continuing, questions, approvals."""
