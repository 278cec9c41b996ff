"""Lesson 03: for each sentence, the value or values at which it is just false."""

FALSE = {
    "On held-out scans, more than nine in ten pictures of trained numbers are named": 0.9,
    "More than nine in ten are named of the numbers that it never met": 0.9,
    "The nearest training picture never names a new number": 1 / 1200,  # one of 1,200 pictures
    "An interval over scans is more than half as wide again as one over pictures": 1.5,
    "With one word a number, new captions are found less often than by chance": 1 / 90,
    "Put together, their captions find more than nine in ten of the new pictures": 0.9,
    "To be a new number costs something": 0.0,
    "With digit labels, the same image encoder reads new numbers less often than CLIP": 0.0,
    "'two forty' has a cosine of more than 0.8 with 'forty-two'": 0.8,
    "Turned round, more than nine in ten numbers of two words are nearest to themselves": 0.9,
    "That is so for an untrained encoder as well": 0.9,
    "Training takes the modality gap to less than a quarter": 0.25,
    "'house number' costs more than one picture of 100": 0.01,
    "'number' costs less than 'house number' does": 0.0,
    "Five trainings: 'number', 'hand' and 'house number' all cost something": 0.0,
    "Five trainings: 'house number' costs four of 100 at least": 4,
    "Five trainings: and in one of them more than twelve": 12,
    "The ensemble is ahead of its unsuitable sentence, on all numbers": 0.0,
    "The ensemble is not ahead of the plain caption": 1e-6,  # the low end of the gain's interval
    "Of the mistakes, more than nine in ten have one digit right": 0.9,
    "The twenty worst scans make more than half of the mistakes": 0.5,
    "The trained model's loss is higher at 1 than at .07": 0.0,
    "At .01 more than half of an untrained model's push is on one negative of 77": 0.5,
    "In 90 steps, a learned temperature is ahead of .01 by more than .4": 0.4,
    "In 600 steps, a learned temperature is ahead of 1": 0.0,
    "In 600 steps, a learned temperature is ahead of .01 as well": 0.0,
    "With as many pictures, a batch of 8 is ahead of one of 78": 0.0,
    "At scale 1, the loss ends within .2 of the lowest possible": 0.2,
    "Opposite pairs cost more than blind guessing": 0.0,
    "Names never trained on: one CLIP is not ahead of CCA": 1e-6,  # the low end of the gain's interval
    "Trained names: CLIP is ahead of CCA": 0.0,
    "On pixels, CCA names fewer than eight in ten numbers": 0.8,
    "Every parameter of the full-size model gets a gradient": 1,
}
