"""What MLflow was not there to take: owed while a run lasts, kept in its workdir afterwards, delivered another time."""
