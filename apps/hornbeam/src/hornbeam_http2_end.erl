%% SPDX-License-Identifier: Apache-2.0
%% @doc Notices that an HTTP/2 request body has ended with trailers: one of unknown length, or one
%% whose last byte came without the end.
%%
%% Cowboy (2.8 to 2.12) reads the trailers and tells no stream handler of them, so that the body
%% would never end. Its connection process knows, and is asked: by a process of its own for each
%% such request, soon at first and then ever more rarely. It ends with the stream, or with the
%% connection. The stream gets `{To, body_ended}', also where the end came as data; it knows that
%% then.
-module(hornbeam_http2_end).

-export([watch/1, forget/1]).

%% What lies in Cowboy's state is an opaque type of cowlib's; no analysis can see that it is.
-dialyzer({nowarn_function, [ask/2, state_of/2]}).

%% Milliseconds.
-define(SOON, 50).
-define(RARELY, 1000).
-define(PATIENCE, 5000).

%% @doc To be called in the connection process when such a stream starts, or gets that byte.
-spec watch(hornbeam_exchanges:to()) -> ok.
watch({_, StreamID} = To) ->
    _ = put({?MODULE, StreamID}, spawn(fun() -> ask(To, ?SOON) end)),
    ok.

%% @doc To be called there when a stream ends: what was sent to it then would be for a stream that
%% Cowboy does not know any more.
-spec forget(hornbeam_exchanges:to()) -> ok.
forget({_, StreamID} = To) ->
    case erase({?MODULE, StreamID}) of
        undefined ->
            ok;
        Pid ->
            _ = exit(Pid, kill),
            receive
                {To, body_ended} -> ok
            after 0 -> ok
            end
    end.

ask({Connection, StreamID} = To, Delay) ->
    receive
    after Delay -> ok
    end,
    case remote_state(Connection, StreamID) of
        open -> ask(To, min(2 * Delay, ?RARELY));
        ended -> Connection ! {To, body_ended};
        gone -> ok
    end.

%% A connection that ends, or is held up by a client that does not read, gives no answer.
remote_state(Connection, StreamID) ->
    try sys:get_state(Connection, ?PATIENCE) of
        State -> state_of(StreamID, machine(State))
    catch
        exit:{timeout, _} -> open;
        exit:_ -> gone
    end.

%% `{State, Buffer}'; where in the state the machine is differs between versions.
machine({State, _Buffer}) when is_tuple(State) ->
    lists:keyfind(http2_machine, 1,
        [E || E <- tuple_to_list(State), is_tuple(E), tuple_size(E) > 0]);
machine(_) ->
    false.

state_of(_, false) ->
    gone;
state_of(StreamID, Machine) ->
    case cow_http2_machine:get_stream_remote_state(StreamID, Machine) of
        {ok, fin} -> ended;
        {ok, _} -> open;
        {error, _} -> gone
    end.
