%% SPDX-License-Identifier: Apache-2.0
%% @doc The end of a connection whose last bytes matter: closed for writing, then what still comes
%% is thrown away until the client closes, too, or a second has gone by.
%%
%% Closing at once would make the client's kernel drop what it has not read yet, if the client has
%% sent what was not read here. (RFC 9112, 9.6) Runs in the connection process, which owns the
%% socket.
-module(hornbeam_linger).

-export([close/2]).

%% How long the client may take to close; milliseconds.
-define(LINGER, 1000).

%% @doc Closes the socket, waiting at most a second for the client.
-spec close(Transport :: module(), inet:socket() | ssl:sslsocket()) -> ok.
close(Transport, Socket) ->
    _ =
        case Transport:shutdown(Socket, write) of
            ok -> drain(erlang:start_timer(?LINGER, self(), ?MODULE), Transport, Socket);
            {error, _} -> ok
        end,
    _ = Transport:close(Socket),
    ok.

drain(Timer, Transport, Socket) ->
    {Data, Closed, Error, _} = Transport:messages(),
    case Transport:setopts(Socket, [{active, once}]) of
        ok ->
            receive
                {Data, Socket, _} -> drain(Timer, Transport, Socket);
                {Closed, Socket} -> ok;
                {Error, Socket, _} -> ok;
                {timeout, Timer, ?MODULE} -> ok
            end;
        {error, _} ->
            ok
    end.
