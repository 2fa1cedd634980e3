"""Oscar's app `dashboard`, with a stock form that counts only what somebody changed."""
