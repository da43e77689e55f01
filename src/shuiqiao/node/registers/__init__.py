"""What an institution has to keep of data protection: assessments, incidents, complaints."""
