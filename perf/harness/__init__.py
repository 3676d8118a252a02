"""What every benchmark uses: inputs, agents and what they cost, programs to compare with, results."""
