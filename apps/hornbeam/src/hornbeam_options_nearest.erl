%% SPDX-License-Identifier: Apache-2.0
%% @doc The known name that an unknown one was most likely meant to be.
%% Pure; runs in the process that checks the options.
-module(hornbeam_options_nearest).

-export([nearest/2, distance/2]).

%% @doc The candidate with the fewest edits from `Name', or `none' if more than a third of the
%% longer of the two would have to change.
-spec nearest(string(), [{string(), Value}]) -> Value | none.
nearest(Name, Candidates) ->
    Near = [{Edits, Value} ||
        {Candidate, Value} <- Candidates,
        Edits <- [distance(string:lowercase(Name), Candidate)],
        Edits * 3 =< max(length(Name), length(Candidate))],
    case lists:keysort(1, Near) of
        [{_, Nearest} | _] -> Nearest;
        [] -> none
    end.

%% @doc Levenshtein distance: insertions, deletions and substitutions that lead from A to B.
-spec distance(string(), string()) -> non_neg_integer().
distance(A, B) ->
    FirstRow = lists:seq(0, length(B)),
    lists:last(lists:foldl(fun(C, Row) -> next_row(C, B, Row) end, FirstRow, A)).

next_row(C, B, [Corner | _] = Row) ->
    next_row(C, B, Row, [Corner + 1]).

next_row(C, [D | B], [Diagonal, Above | Row], [Left | _] = Done) ->
    Substituted = case C of
        D -> Diagonal;
        _ -> Diagonal + 1
    end,
    next_row(C, B, [Above | Row], [lists:min([Substituted, Above + 1, Left + 1]) | Done]);
next_row(_, [], [_], Done) ->
    lists:reverse(Done).
