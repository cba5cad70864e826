"""The service: many runs behind HTTP, for training scripts on any machine. What decides is the coordinator; this carries and keeps order."""
