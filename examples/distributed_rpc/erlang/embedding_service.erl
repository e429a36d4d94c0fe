%% SPDX-License-Identifier: Apache-2.0
%% @doc Embeddings for other nodes: the Python worker of this node that has least to do makes them.
%% Runs in a process for each call.
-module(embedding_service).

-export([encode/1]).

-spec encode([binary()]) -> [[float()]].
encode(Texts) ->
    {ok, Vectors} = hornbeam_hooks:execute(<<"model">>, encode, [Texts]),
    Vectors.
