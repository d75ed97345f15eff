"""What commands that run nothing answer, as text or as one JSON object: versions, runs, two runs, a plan."""
