"""What can be known of a taxpayer from its tax records on one day: declared once, computed alike for one or for all."""
