"""From the items of a call to the chunks of their texts: batches, common beginnings, guesses, beams."""
