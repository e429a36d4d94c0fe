%% SPDX-License-Identifier: Apache-2.0
%% @doc Streams of one connection: limits at N - 1, N, N + 1, idle time.
%% Runs in: a process per test, which plays the connection process.
-module(hornbeam_http2_streams_tests).

-include_lib("eunit/include/eunit.hrl").

-define(FOREVER, 60000).

in_connection(Test) ->
    {spawn, fun() ->
        put('$ancestors', [self()]),
        Test()
    end}.

open(N, Max) -> [hornbeam_http2_streams:opened(Max) || _ <- lists:seq(1, N)].

told_to_end() ->
    receive
        {'EXIT', Pid, {shutdown, Reason}} when Pid =:= self() -> Reason
    after 0 -> false
    end.

limits_test_() ->
    [
        {"up to the limit streams are accepted, beyond it refused", in_connection(fun() ->
            ?assertEqual([ok, ok, ok, refuse], open(4, 3)),
            ?assertEqual(false, told_to_end())
        end)},
        {"a stream that ends makes room", in_connection(fun() ->
            ?assertEqual([ok, ok, refuse], open(3, 2)),
            ok = hornbeam_http2_streams:ended(1, normal, ?FOREVER),
            ok = hornbeam_http2_streams:ended(1, normal, ?FOREVER),
            ?assertEqual([ok, refuse], open(2, 2))
        end)},
        {"four times the limit ends the connection", in_connection(fun() ->
            _ = open(12, 3),
            ?assertEqual(false, told_to_end()),
            _ = open(1, 3),
            ?assertEqual(too_many_streams, told_to_end())
        end)}
    ].

cancelled_test_() ->
    Cancel = fun(N, Reason) ->
        [begin
            ok = hornbeam_http2_streams:opened(10),
            ok = hornbeam_http2_streams:ended(1, Reason, ?FOREVER)
        end || _ <- lists:seq(1, N)]
    end,
    [
        {"500 streams may be given up, the next one ends the connection", in_connection(fun() ->
            _ = Cancel(499, cancel),
            _ = Cancel(1, {stream_error, cancel, 'by the client'}),
            ?assertEqual(false, told_to_end()),
            _ = Cancel(1, cancel),
            ?assertEqual(too_many_cancelled_streams, told_to_end())
        end)},
        {"streams that end in another way do not count", in_connection(fun() ->
            _ = Cancel(600, normal),
            _ = Cancel(600, {internal_error, aborted, 'by the server'}),
            ?assertEqual(false, told_to_end())
        end)}
    ].

idle_test_() ->
    [
        {"the idle time ends the connection when the last stream has ended", in_connection(fun() ->
            _ = open(2, 10),
            ok = hornbeam_http2_streams:ended(1, normal, 0),
            ?assertEqual(false, told_to_end()),
            ok = hornbeam_http2_streams:ended(1, normal, 0),
            receive
                {'EXIT', _, {shutdown, idle}} -> ok
            after 30000 -> error(timeout)
            end
        end)},
        {"so does the time for the first stream", in_connection(fun() ->
            ok = hornbeam_http2_streams:start(0),
            await_message(),
            ?assertEqual(idle, told_to_end())
        end)},
        {"answers that are not taken let it run, a running stream stops it", in_connection(fun() ->
            _ = open(2, 10),
            ok = hornbeam_http2_streams:answered(1),
            ?assertNot(is_idling()),
            ok = hornbeam_http2_streams:answered(3),
            ?assert(is_idling()),
            _ = open(1, 10),
            ?assertNot(is_idling()),
            ok = hornbeam_http2_streams:ended(5, normal, 0),
            ?assert(is_idling()),
            ?assertEqual(false, told_to_end())
        end)},
        {"a stream stops it, also when it has just run out", in_connection(fun() ->
            ok = hornbeam_http2_streams:opened(10),
            ok = hornbeam_http2_streams:ended(1, normal, 0),
            await_message(),
            ok = hornbeam_http2_streams:opened(10),
            ?assertEqual(false, told_to_end())
        end)}
    ].

%% The timer of the connection, as the only thing in its dictionary that is a reference.
is_idling() ->
    lists:any(fun is_reference/1, tuple_to_list(get(hornbeam_http2_streams))).

await_message() ->
    case process_info(self(), message_queue_len) of
        {message_queue_len, 0} -> erlang:yield(), await_message();
        _ -> ok
    end.
