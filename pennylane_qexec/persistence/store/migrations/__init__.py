"""Steps from one set of tables to the next, for alembic. A step that was published is never changed."""
