"""What lesson 07 claims, and where each sentence is just false."""

FALSE = {
    "Twice the batch takes the table about four times the memory": (2, 8),  # as N, as N³
    "The tiles take less than a fifth of the table's memory at N = 4,096": 1 / 5,
    "With 200 MB to spend, N = 8,192 fails with the table and not with the tiles": (0, -1),  # both or none; reversed
    "The loss made in pieces is that of the table to four decimals": 1e-4,
    "Below a bound that is too generous nothing is left of a row's sum": 1e-40,  # some numbers are left
    "Below that bound the course's tiles have the right loss all the same, to three decimals": 1e-3,
    "At N = 4,096 and d = 128 the tiles are faster than the table": 1,
    "Twice the batch takes the table more than twice and less than eight times as long": (2, 8),
    "Where memory is kept, over a quarter of the tiles' lead is gone": 0.75,
    "There one tile as large as the table takes less than half as long again as many": 1.5,
    "Accumulation finds another direction: its cosine with the right gradient is below .9": 0.9,
    "Accumulation finds a gradient of less than nine tenths of the right length": 0.9,
    "Caching finds the gradient of the whole batch, with an error below a thousandth": 1e-3,
    "The loss that accumulation sees is lower by more than half a nat": 0.5,
    "In chunks a step of 4,096 pairs takes less than half the memory": 0.5,
    "Without the other process's part more than a tenth of the gradient is lost": 0.1,
    "What both processes ask adds up to the whole batch's gradient, to a thousandth": 1e-3,
    "One process and two have the same losses to within a hundredth": 0.01,
    "Five seeds: accumulation adds at least half to R@1 on the names trained on": 0.499,
    "Small batches for 16 times the steps come within 3 points of accumulation's R@1": 0.031,
    "Five seeds: caching adds at least 10 points more to that R@1": 0.099,
    "On names never trained on, caching changes accumulation's R@10 by less than 4 points": 0.04,
    "Ten cells of 1,024 answer at least three times as fast as the whole gallery": 2.99,
    "Ten cells, a percent of the gallery, hold more than half of the true ten": 0.5,
    "Ten cells miss more than a tenth of the true ten": 0.1,
    "What lies near a border between cells is missed more often": 0,
    "For queries unlike the gallery the same cells hold less, by more than 10 points": 0.1,
    "A gallery with as many heaps as cells flatters the index": 0,
}
