"""What every verb is run by: Ray, a stage of rows, a run that is watched, posts by key."""
