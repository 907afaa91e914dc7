"""What knows the product SOLVEREIGN: its session, its billing, its webhook of Stripe, its migrations; and the kinds that ask."""
