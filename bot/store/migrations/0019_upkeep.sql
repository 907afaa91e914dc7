-- The queue that looks after waiting releases has another name.
UPDATE work SET queue = 'upkeep' WHERE queue = 'tend';
