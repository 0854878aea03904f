"""What a Transformer costs: its parameters, and the operations of a token.

A decoder-only Transformer (GPT-2's kind) of `layers` blocks of width h = `width`, with a vocabulary
of V = `vocabulary` words and sequences of up to s = `context` tokens, has

    in each block
      query, key, value and output of the attention   four h x h matrices, each with h biases
      feed-forward layer, from h to 4 h and back       two matrices, with 4 h and h biases
      two layer normalizations                         h scales and h shifts each
    once
      word embedding                                   V x h
      learned positions                                s x h
      the last layer normalization                     h scales and h shifts
      output layer: the word embedding again, so nothing more  [output: tied]
      output layer: a matrix of its own, V x h, without biases  [output: untied]

GPT-2 small has 12 layers of width 768, 50,257 words and 1,024 positions:
124,439,808 parameters.  [output: tied]
163,037,184 parameters if its output layer were its own.  [output: untied]

A matrix product of (1, n) and (n, m) takes 2 n m operations (FLOPs): n m multiplications and as
many additions. For one token, forward, count the matrix products alone:

    each block: its six matrices, and the attention: scores with s keys, and the weighted mean of s
    values, 2 s h each (counted in full, as if every token saw all s positions)
    once: the output layer, h to V

Looking up a row of an embedding is no product. Training costs about 6 N for each token, 2 forward
and 4 backward, where N is the number of all parameters.  [counted: all]
and 4 backward, where N is the number of parameters without positions, word  [counted: blocks]
embedding and output layer.  [counted: blocks]

References: J. Kaplan et al., Scaling laws for neural language models, 2020, Table 1; A. Radford et
al., Language models are unsupervised multitask learners, 2019.
"""


def parameters(layers, width, vocabulary, context):
    """Returns the number of parameters of the whole model."""
    # solution: count a block, then add up the blocks and what there is once
    h = width
    attention = 4 * (h * h + h)
    feed_forward = (h * 4 * h + 4 * h) + (4 * h * h + h)
    norms = 2 * 2 * h
    blocks = layers * (attention + feed_forward + norms)
    embeddings = vocabulary * h + context * h
    last_norm = 2 * h
    output = 0  # the embedding, read the other way  # [output: tied]
    output = vocabulary * h  # [output: untied]
    return blocks + embeddings + last_norm + output
    # end of solution


def forward_flops(layers, width, vocabulary, context):
    """Returns the operations of one token, forward, in a sequence of `context` tokens."""
    # solution: count two operations for each entry of a matrix, and the attention's two products
    h = width
    matrices = 2 * (4 * h * h + 8 * h * h)
    # The products that no parameter stands for: with s keys, and with s values.
    attention = 2 * context * h + 2 * context * h
    logits = 2 * h * vocabulary
    return layers * (matrices + attention) + logits
    # end of solution


def training_flops(layers, width, vocabulary, context, tokens):
    """Returns the operations of a training on `tokens` tokens, by the rule 6 N for each."""
    # solution: find N as the text counts it, and apply the rule
    n = parameters(layers, width, vocabulary, context)  # [counted: all]
    # Without words and positions, no embedding and no output layer is left.  # [counted: blocks]
    n = parameters(layers, width, 0, 0)  # [counted: blocks]
    return 6 * n * tokens
    # end of solution
