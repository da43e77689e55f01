"""Four eyes 双人复核: acts that one person proposes and another approves before they are carried out."""
