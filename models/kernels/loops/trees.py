"""Loop over the rows of a batch and the trees of a forest."""

from models.kernels.code_cache import compiled


@compiled
def sum_leaves(start, stop, columns, roots, column, threshold, left, right, first_word, num_words, words, leaves, out):
    """Sum each row's leaves over the trees: columns `[B, C]` into out `[B]`."""
    for r in range(start, stop):
        total = 0.0
        for root in roots:
            node = root
            while node >= 0:
                x = columns[r, column[node]]
                if first_word[node] < 0:
                    goes_left = x <= threshold[node]
                else:
                    category = int(x)
                    word = category >> 5
                    goes_left = category >= 0 and word < num_words[node]
                    if goes_left:
                        goes_left = (words[first_word[node] + word] >> (category & 31)) & 1 == 1
                node = left[node] if goes_left else right[node]
            total += leaves[~node]
        out[r] = total
