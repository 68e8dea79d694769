-- Selection; every fifth auction, as there are few
SELECT auction, price FROM bid WHERE auction % 5 = 0
