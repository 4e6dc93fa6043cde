"""The verbs of the control plane, one class for each subject; `Plane` has one object of each."""
