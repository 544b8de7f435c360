"""The pages: each module has those of one subject, and their routes."""
