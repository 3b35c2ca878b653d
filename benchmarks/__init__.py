"""Speed of superjax beside other ways to train the same models. See README.md."""
