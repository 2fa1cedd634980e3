"""What differs in the dashboard's pages of products."""
