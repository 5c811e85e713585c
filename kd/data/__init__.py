"""Cases, label maps and batches: from files to what a network is trained on."""
