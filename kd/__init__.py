"""The laboratory: from labelled cases to a released package of networks of several sizes."""
