"""What lesson 00 claims, and where each sentence is just false."""

FALSE = {
    "For more than a third of the unseen pictures the right name is among the 10 nearest": 1 / 3,
    "That is more than ten times chance": 10,
    "Before training the same score is less than twice chance": 2,
    "Before training a picture and its name stand about at a right angle": (-0.25, 0.25),
    "After training the mean cosine of a picture and its name is above .4": 0.4,
}
