%% SPDX-License-Identifier: Apache-2.0
%% @doc Tests of `hornbeam_http1_turn', each in a process of its own as a connection is.
%% Runs in: spawned EUnit tests.
-module(hornbeam_http1_turn_tests).

-include_lib("eunit/include/eunit.hrl").

turn_test_() ->
    [{Sentence, {spawn, fun() ->
        [ok = hornbeam_http1_turn:ended(E) || E <- Ended],
        ?assertNot(hornbeam_http1_turn:is_cut()),
        ?assertEqual(Expected, hornbeam_http1_turn:take_over(Id)),
        ?assertEqual(Expected =:= never, hornbeam_http1_turn:is_cut())
    end}} || {Sentence, Ended, Id, Expected} <- [
        {"the first request is due", [], 1, now},
        {"the second is due when the first is over", [1], 2, now},
        {"the tenth is due when the ninth is over", lists:seq(1, 9), 10, now},
        {"the second is not due before", [], 2, never},
        {"the tenth is not due when the eighth is over", lists:seq(1, 8), 10, never}
    ]].

cut_test_() ->
    {"a refusal cuts the connection off", {spawn, fun() ->
        ok = hornbeam_http1_turn:cut(),
        ?assert(hornbeam_http1_turn:is_cut())
    end}}.

open_test_() ->
    {"streams that have started and not ended are open", {spawn, fun() ->
        ?assertEqual(0, hornbeam_http1_turn:open()),
        [ok = hornbeam_http1_turn:started(Id) || Id <- [1, 2, 3]],
        ?assertEqual(3, hornbeam_http1_turn:open()),
        ok = hornbeam_http1_turn:ended(1),
        ?assertEqual(2, hornbeam_http1_turn:open())
    end}}.
