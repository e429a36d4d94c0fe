%% SPDX-License-Identifier: Apache-2.0
%% @doc The queue with a real pool and real atomics; this process stands in for the worker and for
%% the streams, whose messages it therefore sees.
-module(hornbeam_queue_tests).

-include_lib("eunit/include/eunit.hrl").

-define(LIMIT, 4).

queue_test_() ->
    {foreach, fun setup/0, fun stop/1,
        [fun(Context) -> {Name, fun() -> Test(Context) end} end || {Name, Test} <- cases()]}.

setup() -> setup(60000).

setup(Timeout) ->
    Pool = hornbeam_pool:new(?MODULE,
        #{size => 2, queue_limit => ?LIMIT, queue_timeout => Timeout}),
    {ok, Queue} = hornbeam_queue:start_link(Pool),
    {Pool, Queue}.

stop({_, Queue}) ->
    unlink(Queue),
    ok = gen_server:stop(Queue),
    hornbeam_pool:delete(?MODULE).

%% Streams are numbered; so are their requests.
to(N) -> {self(), N}.
request(N) ->
    hornbeam_wire:request({<<"GET">>, integer_to_binary(N), <<>>, <<"1.1">>, #{}, <<>>, <<>>}).

wait(N, Pool) -> hornbeam_queue:enqueue(to(N), request(N), Pool).

%% The slots of a worker, served by this process.
serve(Index, Slots, Pool) ->
    ok = hornbeam_pool:set_worker(Index, self(), Pool),
    ok = hornbeam_pool:set_limits(Index, {1, Slots}, Pool),
    hornbeam_queue:capacity(Pool).

%% One slot is free again.
release(Index, Pool) ->
    _ = hornbeam_pool:release(Index, 1, Pool) andalso hornbeam_queue:capacity(Pool),
    ok.

%% Numbers of the requests that arrive at the worker, in order, once the queue has nothing more to
%% do.
opened({_, Queue}) ->
    _ = sys:get_state(Queue),
    opened([]);
opened(Numbers) ->
    receive
        {hornbeam_open, {_, N}, Request} ->
            ?assertEqual(request(N), Request),
            opened([N | Numbers])
    after 0 -> lists:reverse(Numbers)
    end.

event(N) ->
    receive
        {{_, N}, {hornbeam, undefined, 0, Event}} -> Event
    after 30000 -> none
    end.

cases() ->
    [
        {"first come, first served", fun({Pool, _} = C) ->
            [ok = wait(N, Pool) || N <- [1, 2, 3]],
            ?assertEqual([], opened(C)),
            serve(1, 2, Pool),
            ?assertEqual([1, 2], opened(C)),
            ?assertEqual(1, hornbeam_pool:queued(Pool)),
            release(1, Pool),
            ?assertEqual([3], opened(C)),
            ?assertEqual(0, hornbeam_pool:queued(Pool))
        end},
        {"a slot that is free already is taken at once", fun({Pool, _} = C) ->
            serve(1, 1, Pool),
            ok = wait(1, Pool),
            ?assertEqual([1], opened(C)),
            ?assertEqual(1, hornbeam_pool:load(1, Pool))
        end},
        {"what was handed back goes first, in its order", fun({Pool, _} = C) ->
            [ok = wait(N, Pool) || N <- [1, 2]],
            ok = hornbeam_queue:requeue([{to(N), request(N)} || N <- [8, 9]], Pool),
            ?assertEqual(4, hornbeam_pool:queued(Pool)),
            serve(2, 9, Pool),
            ?assertEqual([8, 9, 1, 2], opened(C))
        end},
        {"what was handed back is not refused, however full it is", fun({Pool, _} = C) ->
            [ok = wait(N, Pool) || N <- lists:seq(1, ?LIMIT)],
            ok = hornbeam_queue:requeue([{to(N), request(N)} || N <- [8, 9]], Pool),
            ?assertEqual(?LIMIT + 2, hornbeam_pool:queued(Pool)),
            ?assertEqual(full, wait(7, Pool)),
            serve(1, 9, Pool),
            ?assertEqual([8, 9, 1, 2, 3, 4], opened(C))
        end},
        {"queue_limit waits, one more is refused, and does not count", fun({Pool, _} = C) ->
            ?assertEqual([ok, ok, ok, ok, full, full],
                [wait(N, Pool) || N <- lists:seq(1, ?LIMIT + 2)]),
            ?assertEqual(?LIMIT, hornbeam_pool:queued(Pool)),
            serve(1, 1, Pool),
            ?assertEqual([1], opened(C)),
            ?assertEqual(ok, wait(5, Pool))
        end},
        {"a client that leaves leaves the queue", fun({Pool, _} = C) ->
            [ok = wait(N, Pool) || N <- [1, 2, 3]],
            ok = hornbeam_queue:cancel(to(2), Pool),
            serve(1, 9, Pool),
            ?assertEqual([1, 3], opened(C)),
            ?assertEqual(0, hornbeam_pool:queued(Pool))
        end},
        {"a client that leaves after that is told to the workers", fun({Pool, Queue} = C) ->
            serve(1, 1, Pool),
            ok = wait(1, Pool),
            ?assertEqual([1], opened(C)),
            ok = hornbeam_queue:cancel(to(1), Pool),
            _ = sys:get_state(Queue),
            To = to(1),
            ?assertEqual(told, receive {hornbeam_cancel, To} -> told after 30000 -> none end),
            ?assertEqual(0, hornbeam_pool:queued(Pool))
        end},
        {"nor does a request come back whose client left while it was handed back",
            fun({Pool, Queue} = C) ->
                serve(1, 1, Pool),
                ok = wait(1, Pool),
                ?assertEqual([1], opened(C)),
                ok = hornbeam_queue:cancel(to(1), Pool),
                ok = hornbeam_queue:requeue([{to(1), request(1)}, {to(2), request(2)}], Pool),
                release(1, Pool),
                ?assertEqual([2], opened(C)),
                _ = sys:get_state(Queue),
                ?assertEqual(0, hornbeam_pool:queued(Pool))
            end},
        {"both workers are used", fun({Pool, _} = C) ->
            [ok = wait(N, Pool) || N <- [1, 2, 3, 4]],
            serve(1, 2, Pool),
            serve(2, 2, Pool),
            ?assertEqual([1, 2, 3, 4], opened(C)),
            ?assertEqual({2, 2}, {hornbeam_pool:load(1, Pool), hornbeam_pool:load(2, Pool)})
        end},
        {"a queue that crashed starts empty, its count, too", fun({Pool, Queue}) ->
            [ok = wait(N, Pool) || N <- [1, 2]],
            _ = sys:get_state(Queue),
            {ok, _, #{}} = {ok, hornbeam_queue:init(Pool), #{}},
            ?assertEqual(0, hornbeam_pool:queued(Pool))
        end},
        {"unknown calls and messages do no harm", fun({Pool, Queue} = C) ->
            ?assertEqual({error, unknown_call}, gen_server:call(Queue, what)),
            Queue ! what,
            serve(1, 1, Pool),
            ok = wait(1, Pool),
            ?assertEqual([1], opened(C))
        end}
    ].

deadline_test_() ->
    {foreach, fun() -> setup(50) end, fun stop/1,
        [fun(Context) -> {Name, fun() -> Test(Context) end} end || {Name, Test} <- deadlines()]}.

deadlines() ->
    [
        {"who waits longer than queue_timeout is told, and does not count any more",
            fun({Pool, _} = C) ->
            [ok = wait(N, Pool) || N <- [1, 2]],
            ?assertEqual([{failed, queue_timeout}, {failed, queue_timeout}], [event(1), event(2)]),
            ?assertEqual(0, hornbeam_pool:queued(Pool)),
            serve(1, 9, Pool),
            ?assertEqual([], opened(C))
        end},
        {"the timer goes on for those that came later", fun({Pool, _}) ->
            ok = wait(1, Pool),
            ?assertEqual({failed, queue_timeout}, event(1)),
            ok = wait(2, Pool),
            ?assertEqual({failed, queue_timeout}, event(2)),
            ?assertEqual(0, hornbeam_pool:queued(Pool))
        end},
        {"what was handed back waits a queue_timeout of its own", fun({Pool, _}) ->
            ok = wait(1, Pool),
            ok = hornbeam_queue:requeue([{to(8), request(8)}], Pool),
            ?assertEqual([{failed, queue_timeout}, {failed, queue_timeout}], [event(8), event(1)])
        end}
    ].

%% Whatever many processes do at once, the count is that of the queue in the end, and never below 0.
count_test_() ->
    {setup, fun setup/0, fun stop/1, fun({Pool, Queue}) ->
        {timeout, 30, fun() ->
            Clients = [spawn_monitor(fun() -> client(N, Pool) end) || N <- lists:seq(1, 20)],
            Least = watch(Clients, Pool, 0),
            _ = sys:get_state(Queue),
            ?assertEqual(0, hornbeam_pool:queued(Pool)),
            ?assert(Least >= 0)
        end}
    end}.

%% Enqueues and leaves again.
client(N, Pool) ->
    lists:foreach(
        fun(I) ->
            case wait(N * 1000 + I, Pool) of
                ok -> hornbeam_queue:cancel(to(N * 1000 + I), Pool);
                full -> erlang:yield()
            end
        end,
        lists:seq(1, 50)
    ).

watch([], _, Least) ->
    Least;
watch([{_, Monitor} | Rest] = Clients, Pool, Least0) ->
    Least = min(Least0, hornbeam_pool:queued(Pool)),
    receive
        {'DOWN', Monitor, process, _, Reason} ->
            ?assertEqual(normal, Reason),
            watch(Rest, Pool, Least)
    after 0 -> watch(Clients, Pool, Least)
    end.
