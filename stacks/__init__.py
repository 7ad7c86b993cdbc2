"""What exists: the participants, their seats and the machines. Never imports Fabric."""
