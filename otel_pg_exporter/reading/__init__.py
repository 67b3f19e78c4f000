"""What is asked of the tables, and what comes back: filters, questions, answers, and how they look."""
