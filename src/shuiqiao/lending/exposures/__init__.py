"""What other banks have lent to an applicant who consents, in bands, and what this one tells them."""
